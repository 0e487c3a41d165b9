// Carries the precompiled header of src/.
