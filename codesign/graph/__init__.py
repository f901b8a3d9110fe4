"""The captured network: one flat graph that everything else works on."""
