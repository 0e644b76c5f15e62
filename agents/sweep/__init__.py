"""Many runs and much work on many processes or machines: sweeps, comparisons, tasks on a cluster."""
