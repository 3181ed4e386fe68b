"""What the pods of a plan cost: how full nodes are, who pays what of them, and what each would pay elsewhere."""
