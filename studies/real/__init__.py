"""Every method tuned alike on a real language model, on tasks whose reward a program computes."""
