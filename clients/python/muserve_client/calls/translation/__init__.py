"""Calls for translations of images into another domain."""
