"""Read the exports of feedback tools as rows of (prompt, response, reward)."""
