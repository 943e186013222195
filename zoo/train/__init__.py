"""Training: what one run is, and how it is carried out."""
