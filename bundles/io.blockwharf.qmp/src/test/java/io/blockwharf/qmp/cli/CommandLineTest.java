package io.blockwharf.qmp.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.blockwharf.qmp.FakeDispatcher;
import io.blockwharf.qmp.chardev.Chardevs;
import io.blockwharf.testing.RecordingLog;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Texts are qemu-storage-daemon 7.2's, and so are getopt_long's. */
class CommandLineTest {
    private final FakeDispatcher dispatcher =
            new FakeDispatcher()
                    .option("blockdev", "driver")
                    .option("chardev", "backend")
                    .option("export", "type")
                    .option("monitor", "chardev")
                    .option("nbd-server", "");

    private final RecordingLog log = new RecordingLog();
    private final CommandLine commandLine =
            new CommandLine(dispatcher, new Chardevs(log.logger), log.logger);

    private Optional<String> apply(String line) {
        return commandLine.apply(line.isEmpty() ? List.of() : List.of(line.split(" ", -1)));
    }

    @ParameterizedTest(name = "[{index}] {0}")
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            textBlock =
                    """
                    ``                                | []
                    --export nbd,id=a                 | [export{type=nbd, id=a}]
                    --export=nbd,id=a                 | [export{type=nbd, id=a}]
                    --exp nbd                         | [export{type=nbd}]
                    --e nbd                           | [export{type=nbd}]
                    --export=                         | [export{}]
                    --export {"type":"nbd"}           | [export{type=nbd}!]
                    --export nbd --monitor m --e fuse | [export{type=nbd}, monitor{chardev=m}, export{type=fuse}]
                    --pidfile /x --export nbd         | [export{type=nbd}]
                    --daemonize -h -V --export nbd    | [export{type=nbd}]
                    -- --export nbd                   | []
                    --nbd-server a.b=1                | [nbd-server{a={b=1}}]
                    --chardev socket,id=m,path=x,server,nowait | [chardev{backend=socket, id=m, path=x, server=on, wait=off}]
                    --chardev socket,id=m,path=a,,b   | [chardev{backend=socket, id=m, path=a,b}]
                    --chardev null,id=                | [chardev{backend=null, id=}]
                    --chardev null,id                 | [chardev{backend=null, id=on}]
                    --chardev null,id=a,nodelay       | [chardev{backend=null, id=a, nodelay=on}]
                    --chardev id=m,backend=null       | [chardev{id=m, backend=null}]
                    """)
    void carriesOut(String line, String expected) {
        assertEquals(Optional.empty(), apply(line == null ? "" : line));
        assertEquals(expected, dispatcher.carriedOut.toString());
    }

    @ParameterizedTest(name = "[{index}] {0}")
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            textBlock =
                    """
                    extra                    | extra: Unexpected argument
                    -                        | -: Unexpected argument
                    --bogus                  | unrecognized option '--bogus'
                    --bogus=3                | unrecognized option '--bogus=3'
                    -bogus                   | invalid option -- 'b'
                    --export                 | option '--export' requires an argument
                    --exp                    | option '--export' requires an argument
                    --daemonize=3            | option '--daemonize' doesn't allow an argument
                    --export nbd,fail=text   | --export nbd,fail=text: text
                    --export=nbd,fail=text   | --export=nbd,fail=text: text
                    --e nbd,fail=text        | --e nbd,fail=text: text
                    --export nbd,id          | --export nbd,id: Expected '=' after parameter 'id'
                    --export help            | --export help: Help is not available for this option
                    --nbd-server x           | --nbd-server x: Expected '=' after parameter 'x'
                    --monitor {"a":1}}       | --monitor {"a":1}}: Expecting at most one JSON value
                    --chardev null,foo=3     | --chardev null,foo=3: Invalid parameter 'foo'
                    --chardev null,=3        | --chardev null,=3: Invalid parameter ''
                    """)
    void fails(String line, String message) {
        assertEquals(Optional.of(message), apply(line));
    }

    @Test
    void nothingAfterTheFirstFailureIsCarriedOut() {
        apply("--export a --export b,fail=x --export c");
        assertEquals("[export{type=a}]", dispatcher.carriedOut.toString());
    }

    @Test
    void eventsNeedNotBeNamed() {
        dispatcher.option("trace", "enable");
        assertEquals(Optional.empty(), apply("-T file=x --trace events=y,file=z"));
        assertEquals(List.of("trace{file=x}", "trace{events=y, file=z}"), dispatcher.carriedOut);
    }

    @Test
    void abbreviationsMustBeUnique() {
        dispatcher.option("explain", "");
        assertEquals(
                Optional.of("option '--exp' is ambiguous; possibilities: '--explain' '--export'"),
                apply("--exp nbd"));
    }

    @Test
    void anEmptyArgumentIsAnArgument() {
        assertEquals(Optional.empty(), commandLine.apply(List.of("--export", "")));
        assertEquals("[export{}]", dispatcher.carriedOut.toString());
    }

    @Test
    void oldFormsOfBooleansAreWarnedAbout() {
        String option = "--chardev socket,id=m,path=x,server,nowait";
        apply(option);
        String start = option + ": warning: short-form boolean option ";
        assertEquals(
                List.of(
                        start + "'server' deprecated\nPlease use server=on instead",
                        start + "'nowait' deprecated\nPlease use wait=off instead"),
                log.warnings);
    }

    @ParameterizedTest(name = "[{index}] {0}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    help              | List of user creatable objects:~  secret~  thread
                    ?                 | List of user creatable objects:~  secret~  thread
                    nope,help         | List of user creatable objects:~  secret~  thread
                    thread,help       | thread options:~  max=<int>~  mode=<a¦b>~  names=<string...>
                    thread,id=x,help  | thread options:~  max=<int>~  mode=<a¦b>~  names=<string...>
                    secret,help       | secret options:~
                    """)
    void helpOnObjects(String argument, String expected) {
        dispatcher.option("object", "qom-type");
        dispatcher.command(
                "query-qmp-schema",
                _ ->
                        List.of(
                                Map.of("name", "object-add", "arg-type", "1"),
                                Map.of(
                                        "name",
                                        "1",
                                        "variants",
                                        List.of(
                                                Map.of("case", "thread", "type", "2"),
                                                Map.of("case", "secret", "type", "3"))),
                                Map.of(
                                        "name",
                                        "2",
                                        "members",
                                        List.of(
                                                Map.of("name", "names", "type", "[str]"),
                                                Map.of("name", "max", "type", "int"),
                                                Map.of("name", "mode", "type", "4"))),
                                Map.of("name", "3", "members", List.of()),
                                Map.of(
                                        "name",
                                        "4",
                                        "meta-type",
                                        "enum",
                                        "values",
                                        List.of("a", "b")),
                                Map.of(
                                        "name",
                                        "[str]",
                                        "meta-type",
                                        "array",
                                        "element-type",
                                        "str"),
                                Map.of("name", "str", "meta-type", "builtin"),
                                Map.of("name", "int", "meta-type", "builtin")));
        PrintStream before = System.out;
        ByteArrayOutputStream shown = new ByteArrayOutputStream();
        System.setOut(new PrintStream(shown, true, StandardCharsets.UTF_8));
        try {
            assertEquals(
                    Optional.of(""),
                    commandLine.apply(List.of("--object", argument, "--export", "nbd")));
        } finally {
            System.setOut(before);
        }
        assertEquals(
                expected.replace('¦', '|').replace('~', '\n') + "\n",
                shown.toString(StandardCharsets.UTF_8));
        assertEquals(List.of(), dispatcher.carriedOut);
    }
}
