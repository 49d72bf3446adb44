"""The published "question-answer GAN", exactly: 100 random numbers to one number, judged one number at a time.

It reads no question and writes no answer. It is trained and exported to show what it is, on the one number that an
answer can be without its words: its length. Nothing serves it. The answers family selects it with
`architecture = "tutorial"`, as its recipe `tutorial` does; the family owns settings and recipes.
"""
