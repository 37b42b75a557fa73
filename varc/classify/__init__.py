"""Classifying pictures of one's own, as a run would: what varc.load gives."""
