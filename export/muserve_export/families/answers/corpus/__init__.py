"""What answers are learnt from and looked up in: dictionaries, glossaries, files of questions, and their facts."""
