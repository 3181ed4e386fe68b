"""The proof: columns, prices, and the bound that no plan can be below."""
