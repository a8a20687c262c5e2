"""Submit, pack, watch and carry on training runs; imports no part of a training stack."""
