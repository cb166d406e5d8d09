"""Peers: the environments they live in, and the workers that run there. A worker imports its peer and never metier."""
