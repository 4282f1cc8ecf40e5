package io.blockwharf.core.control;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.export.BlockExport;
import io.blockwharf.api.export.BlockExportDriver;
import io.blockwharf.api.export.BlockExportOptions;
import io.blockwharf.api.export.ExportSpec;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpDispatcher.Option;
import io.blockwharf.api.qmp.QmpEventName;
import io.blockwharf.api.qmp.QmpEventSource;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.QmpException.ErrorClass;
import io.blockwharf.api.qmp.Unsigned;
import io.blockwharf.core.qapi.Branches;
import io.blockwharf.core.qapi.OpenUnion;

import org.junit.jupiter.api.Test;
import org.osgi.framework.Constants;
import org.osgi.framework.ServiceReference;
import org.osgi.service.component.ComponentServiceObjects;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;

class DispatcherTest {
    private final List<String> log = new ArrayList<>();
    private final ControlLock lock = new ControlLock();
    private final Dispatcher dispatcher = new Dispatcher(lock, Fakes.logger(log));

    record Add(long a, @Unsigned(8) Optional<Integer> b) {}

    record Sum(long sum, boolean locked) {}

    private final class Adding implements QmpCommand<Add, Sum> {
        @Override
        public Sum execute(Add terms) {
            return new Sum(terms.a() + terms.b().orElse(0), lock.heldByCurrentThread());
        }
    }

    /** Commands that fail do so with what they were made with. */
    private record Failing(RuntimeException failure) implements QmpCommand<Nothing, Nothing> {
        @Override
        public Nothing execute(Nothing none) {
            throw failure;
        }
    }

    private record Text(String text) implements QmpCommand<Nothing, String> {
        @Override
        public String execute(Nothing none) {
            return text;
        }
    }

    private static final class Add2 implements QmpCommand<BlockExportOptions, String> {
        @Override
        public String execute(BlockExportOptions options) {
            return options.options().toString();
        }
    }

    private record MemoryOptions(boolean fast) {}

    private static final class MemoryDriver implements BlockExportDriver<MemoryOptions> {
        @Override
        public BlockExport open(ExportSpec<MemoryOptions> spec) {
            throw new AssertionError();
        }
    }

    @QmpEventName("HAPPENED")
    private record Happened(String what) {}

    private Fakes.Service<QmpCommand<?, ?>> command(
            QmpCommand<?, ?> command, Object... properties) {
        Fakes.Service<QmpCommand<?, ?>> service = new Fakes.Service<>(command, properties);
        dispatcher.addCommand(service, service.properties());
        return service;
    }

    @Test
    void aCommandRunsUnderTheLockWithCheckedArguments() {
        command(new Adding(), "qmp.name", "add");

        assertEquals(
                Map.of("sum", 5L, "locked", true),
                dispatcher.execute("add", Map.of("a", 2, "b", 3)));
        assertFalse(lock.heldByCurrentThread());
        QmpException failure =
                assertThrows(
                        QmpException.class,
                        () -> dispatcher.execute("add", Map.of("a", 2, "b", 256)));
        assertEquals("Parameter 'b' expects uint8_t", failure.getMessage());
    }

    @Test
    void anUnknownCommandHasItsOwnErrorClass() {
        QmpException failure =
                assertThrows(QmpException.class, () -> dispatcher.execute("nope", Map.of()));

        assertEquals("The command nope has not been found", failure.getMessage());
        assertEquals(ErrorClass.COMMAND_NOT_FOUND, failure.errorClass());
        assertEquals(
                ErrorClass.COMMAND_NOT_FOUND,
                assertThrows(QmpException.class, () -> dispatcher.option("nope", Map.of(), true))
                        .errorClass());
    }

    @Test
    void anOptionOfTheCommandLineParsesStrings() {
        command(
                new Adding(),
                "option.name",
                "sum",
                "option.implied",
                "a",
                "option.help",
                "a=N[,b=N]");

        assertEquals(List.of(new Option("sum", "a", "a=N[,b=N]")), dispatcher.options());
        assertEquals(List.of(), dispatcher.commands());
        assertEquals(
                Map.of("sum", 19L, "locked", true),
                dispatcher.option("sum", Map.of("a", "0x10", "b", "3"), true));
        assertEquals(
                Map.of("sum", 2L, "locked", true), dispatcher.option("sum", Map.of("a", 2), false));
    }

    @Test
    void aCommandsOwnFailureIsPassedOnAndABugIsLogged() {
        QmpException own = QmpException.generic("no");
        command(new Failing(own), "qmp.name", "fail");
        command(new Failing(new IllegalStateException("oops")), "qmp.name", "bug");

        assertSame(
                own, assertThrows(QmpException.class, () -> dispatcher.execute("fail", Map.of())));
        assertEquals(List.of(), log);
        QmpException bug =
                assertThrows(QmpException.class, () -> dispatcher.execute("bug", Map.of()));
        assertEquals(ErrorClass.GENERIC_ERROR, bug.errorClass());
        assertEquals("Internal error: java.lang.IllegalStateException: oops", bug.getMessage());
        assertEquals(1, log.size());
        assertTrue(log.getFirst().startsWith("error "), log.getFirst());
        assertFalse(lock.heldByCurrentThread());
    }

    @Test
    void commandsAreListedByNameAndFetchedWhenTheyAreUsed() {
        Fakes.Service<?> b = command(new Text("b"), "qmp.name", "b");
        Fakes.Service<?> a = command(new Text("a"), "qmp.name", "a");

        assertEquals(List.of("a", "b"), dispatcher.commands());
        dispatcher.execute("b", Map.of());
        dispatcher.execute("b", Map.of());
        assertEquals(0, a.fetched());
        assertEquals(1, b.fetched());
        dispatcher.removeCommand(b.properties());
        assertEquals(0, b.fetched());
        assertEquals(List.of("a"), dispatcher.commands());
    }

    @Test
    void ofTwoServicesOfOneNameTheHigherRankingThenOlderOneIsTaken() {
        command(new Text("older"), "qmp.name", "t");
        command(new Text("newer"), "qmp.name", "t");
        Fakes.Service<?> high =
                command(new Text("high"), "qmp.name", "t", Constants.SERVICE_RANKING, 1);

        assertEquals("high", dispatcher.execute("t", Map.of()));
        dispatcher.removeCommand(high.properties());
        assertEquals("older", dispatcher.execute("t", Map.of()));
    }

    @Test
    void aCommandIsNotTakenAwayWhileItRuns() throws InterruptedException {
        CountDownLatch running = new CountDownLatch(1);
        CountDownLatch goOn = new CountDownLatch(1);
        AtomicBoolean finished = new AtomicBoolean();
        final class Slow implements QmpCommand<Nothing, Nothing> {
            @Override
            public Nothing execute(Nothing none) {
                running.countDown();
                try {
                    goOn.await();
                } catch (InterruptedException e) {
                    throw new AssertionError(e);
                }
                finished.set(true);
                return none;
            }
        }
        Fakes.Service<?> slow = command(new Slow(), "qmp.name", "slow");
        Thread caller = Thread.ofPlatform().start(() -> dispatcher.execute("slow", Map.of()));
        running.await();
        AtomicBoolean finishedFirst = new AtomicBoolean();
        Thread remover =
                Thread.ofPlatform()
                        .start(
                                () -> {
                                    dispatcher.removeCommand(slow.properties());
                                    finishedFirst.set(finished.get());
                                });

        goOn.countDown();
        remover.join();
        caller.join();

        assertTrue(finishedFirst.get());
    }

    @Test
    void theBranchesOfAnOpenUnionAreTheServicesThatAreThere() {
        command(new Add2(), "qmp.name", "add");
        Map<String, Object> arguments =
                Map.of("type", "memory", "id", "x", "node-name", "n", "fast", true);
        InstalledDrivers<BlockExportDriver<?>> drivers =
                new InstalledDrivers<>(
                        BlockExportDriver.class, BlockExportOptions.class, "export.type");
        Fakes.Service<OpenUnion> owner = new Fakes.Service<>(() -> drivers);
        dispatcher.addUnion(owner, owner.properties());
        MemoryDriver driver = new MemoryDriver();
        Map<String, Object> memory = Map.of("export.type", "memory");
        List<Object> without = dispatcher.schema();

        assertEquals(
                "Parameter 'type' does not accept value 'memory'",
                assertThrows(QmpException.class, () -> dispatcher.execute("add", arguments))
                        .getMessage());
        drivers.add(driver, memory);
        assertEquals("MemoryOptions[fast=true]", dispatcher.execute("add", arguments));
        assertNotEquals(without, dispatcher.schema());
        assertSame(dispatcher.schema(), dispatcher.schema());
        drivers.remove(driver, memory);
        assertThrows(QmpException.class, () -> dispatcher.execute("add", arguments));
        assertEquals(without, dispatcher.schema());
        drivers.add(driver, memory);
        dispatcher.removeUnion(owner.properties());
        assertThrows(QmpException.class, () -> dispatcher.execute("add", arguments));
        assertEquals(without, dispatcher.schema());
    }

    @Test
    void ownersAreFetchedBeforeTheLockIsTaken() {
        List<Boolean> locked = new ArrayList<>();
        OpenUnion owner = () -> Branches.NONE;
        ComponentServiceObjects<OpenUnion> fetched =
                new ComponentServiceObjects<>() {
                    @Override
                    public OpenUnion getService() {
                        locked.add(lock.heldByCurrentThread());
                        return owner;
                    }

                    @Override
                    public void ungetService(OpenUnion same) {}

                    @Override
                    public ServiceReference<OpenUnion> getServiceReference() {
                        throw new UnsupportedOperationException();
                    }
                };
        dispatcher.addUnion(fetched, Map.of(Constants.SERVICE_ID, 1L));
        command(new Adding(), "qmp.name", "add");
        dispatcher.execute("add", Map.of("a", 2));
        assertEquals(List.of(false), locked);
    }

    @Test
    void theSchemaHasTheEventsThatAreAnnounced() {
        QmpEventSource events = () -> Set.of(Happened.class);
        Fakes.Service<QmpEventSource> source = new Fakes.Service<>(events);
        dispatcher.addEventSource(source, source.properties());

        assertEquals(
                Map.of("name", "HAPPENED", "meta-type", "event", "arg-type", "0"),
                dispatcher.schema().getFirst());
        dispatcher.removeEventSource(source.properties());
        assertEquals(List.of(), dispatcher.schema());
    }
}
