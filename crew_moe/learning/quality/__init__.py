"""The parts of the quality model: what it reads of a text, what it learns, its files, and how its predictions are
judged.
"""
