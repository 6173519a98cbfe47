"""The OpenAI API over the router: any OpenAI client gets the right expert, within its budget, by naming a model."""
