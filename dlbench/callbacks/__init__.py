"""Lightning callbacks: what happens beside a training."""
