"""How weights follow gradients: the optimizers, their groups of parameters, and width transfer."""
