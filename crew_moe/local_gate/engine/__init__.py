"""What serves requests between the gate and the hosts: lines, batches, what is remembered, and relief under load."""
