"""What of Stable-Baselines3 works with the agent, as tables: the tests run them, `page.py` writes them down."""
