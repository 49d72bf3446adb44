"""The discriminator, and the decoding of answers in torch."""
