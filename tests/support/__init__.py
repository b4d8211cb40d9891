"""What tests share: servers, programs, wires, the model of the rules, ledgers."""
