"""A live list of a model's rows: what changes in the admin shows on an open page when the transaction commits."""
