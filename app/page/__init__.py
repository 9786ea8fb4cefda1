"""The page: what was found of a window, as one HTML document to look at. Pure; the command gathers it."""
