"""How fast the suite is: ratios against a plain PyTorch loop, taken pair by pair on one machine."""
