// Which instruction set is chosen, and that a wrong name is never replaced by a guess.
import CLensKernels
import Foundation
import Testing

@Suite struct DispatchTests {
    @Test func theListEndsWithPortableAndPortableRuns() {
        #expect(ISA.all.last?.name == "portable")
        #expect(ISA.everyRunnable.last?.name == "portable")
        #expect(lens_isa_at(-1) == nil)
        #expect(lens_isa_at(lens_isa_count()) == nil)
    }

    @Test(arguments: ["bogus", "AVX2", "avx2 ", "neon?"])
    func unknownNamesGiveNil(name: String) { #expect(lens_isa_named(name) == nil) }

    @Test(arguments: ISA.all)
    func aNameGivesItsSetOrNothing(isa: ISA) {
        #expect(lens_isa_named(isa.name) == (lens_isa_runnable(isa.pointer) ? isa.pointer : nil))
    }

    @Test func noNameGivesTheBestRunnable() {
        #expect(lens_isa_named(nil) == ISA.everyRunnable.first?.pointer)
        #expect(lens_isa_named("") == ISA.everyRunnable.first?.pointer)
    }

    @Test func theActiveSetStaysTheSame() { #expect(lens_isa_active() == lens_isa_active()) }

    @Suite(.serialized) struct ThreadCount {
        @Test func settingAndRestoring() {
            defer { lens_set_threads(0) }
            lens_set_threads(-3)
            #expect(lens_get_threads() >= 1)
        }

        /// OpenMP aborts where the system refuses it a thread, so it is never asked for more than there are processors.
        @Test func noMoreThanTheMachineHas() {
            defer { lens_set_threads(0) }
            lens_set_threads(100_000)
            let processors = ProcessInfo.processInfo.processorCount
            #expect((1...max(4, processors)).contains(Int(lens_get_threads())))
        }
    }
}
