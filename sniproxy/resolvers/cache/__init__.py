"""What the proxy does around every resolver: deadlines, sharing, keeping answers, and leaving a broken one alone."""
