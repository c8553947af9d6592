"""The models of the ablation beside each other over the kernel width."""
