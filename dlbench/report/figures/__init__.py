"""The reports' figures, redrawn from our runs as SVG text; without torch, so that a report renders in seconds."""
