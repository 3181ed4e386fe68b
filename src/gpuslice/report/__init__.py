"""The page that a person looks at: a plan, and how it would have fared, as one HTML file."""
