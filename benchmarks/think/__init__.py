"""What thinking costs and gains."""
