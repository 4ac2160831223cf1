import ArgumentParser

@main
struct Tlens: ParsableCommand {}
