"""Hand a trial to the hardware team: `python -m codesign.export run=RUN_DIR trial=knee`."""
