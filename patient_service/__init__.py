"""Patients, their care teams and caregivers: who is cared for, by whom, and who may see it."""
