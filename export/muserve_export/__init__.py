"""Trains generators and writes them as bundles. The only package with torch."""
