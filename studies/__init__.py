"""⑦ Worlds where methods are compared under one protocol."""
