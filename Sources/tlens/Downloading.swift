// A model's folder, downloaded from the hub where it is not on this machine, with a bar on a terminal.

import TransformerLens

/// The folder (or file) of a model.
func localFolder(of model: String, _ progress: Progress) throws -> String {
    try Hub().blockingFolder(of: model, progress: { show($0, progress) })
}

/// The folder (or file and its configuration) of a model at a checkpoint of its training.
func localCheckpoint(_ checkpoint: TrainingCheckpoint, of model: String, _ progress: Progress) throws -> (path: String, config: String?) {
    try Hub().blockingCheckpoint(checkpoint, of: model, progress: { show($0, progress) })
}

private func show(_ download: HubProgress, _ progress: Progress) {
    let megabytes = { (bytes: Int) in "\(bytes / 1_000_000)" }
    let share = download.total > 0 ? Double(download.bytes) / Double(download.total) : 0
    let full = max(0, min(24, Int(share * 24)))
    let bar = String(repeating: "█", count: full) + String(repeating: "░", count: 24 - full)
    progress.show("\(bar) \(megabytes(download.bytes)) of \(megabytes(download.total)) MB, \(download.file)")
}
