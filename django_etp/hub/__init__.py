"""The connections and rooms of one process."""
