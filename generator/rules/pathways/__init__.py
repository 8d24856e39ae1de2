"""Pathways: how the error reaches a layer, and what a rule makes of it. A file per rule or close family."""
