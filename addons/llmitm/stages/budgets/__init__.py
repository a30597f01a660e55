"""Usage limits: `Budgets` in `stage`."""
