"""What tests are made with: a scripted model, scratch repositories, isolated homes, bounded waits. Never shipped."""
