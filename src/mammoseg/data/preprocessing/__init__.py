"""Preprocessing of full-size images for the network, and its inverse."""
