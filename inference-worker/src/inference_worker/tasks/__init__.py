"""What differs between the tasks that a model may be published for. It knows neither jobs nor how models are loaded."""
