package io.blockwharf.it;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Our daemon and QEMU's with a monitor on their standard streams, each in a folder of its own. What
 * differs from one run to the next is masked in their answers: the folder, times, made-up names,
 * and the order of lists that have none.
 */
final class Pair implements AutoCloseable {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Pattern MADE_UP = Pattern.compile("#block[0-9]+");
    private static final long LIMIT_SECONDS = 60;

    /** Lists without an order, by the command that returns them. */
    private static final Deviations UNORDERED = Deviations.under("### Lists without an order");

    /** One of the two. Its folder's path is as long as the other's: some messages are cut. */
    static final class Side {
        private final Process process;
        private final Qmp qmp;
        private final Path folder;
        private final Map<String, String> madeUp = new HashMap<>();

        private Side(String program, Path folder, List<String> arguments) throws IOException {
            this.folder = Files.createDirectory(folder);
            List<String> command = new ArrayList<>(List.of(program));
            arguments.forEach(argument -> command.add(here(argument)));
            command.addAll(List.of("--chardev", "stdio,id=m", "--monitor", "m"));
            process =
                    new ProcessBuilder(command)
                            .redirectError(folder.resolve("stderr").toFile())
                            .start();
            qmp = new Qmp(process.inputReader(), process.outputWriter());
        }

        /** What a case says, for this side. */
        private String here(String text) {
            return text.replace("@DIR@", folder.toString());
        }

        /** Sends a request as it stands: the events before the answer, and the answer. */
        ArrayNode call(String request) throws IOException {
            JsonNode answer = qmp.call(here(request));
            ArrayNode all = JSON.createArrayNode();
            for (JsonNode event = qmp.eventSoFar(); event != null; event = qmp.eventSoFar()) {
                all.add(masked(event));
            }
            String command = command(request);
            JsonNode masked = masked(answer);
            if (masked.path("return").has("edges")) {
                callByName(masked.get("return"));
            }
            if (masked.has("return") && UNORDERED.has(command)) {
                ((ObjectNode) masked).set("return", sorted(masked.get("return")));
            }
            return all.add(masked);
        }

        /** The numbers of nodes are those of one answer. */
        private static void callByName(JsonNode graph) {
            Map<Long, String> names = new HashMap<>();
            for (JsonNode node : graph.get("nodes")) {
                long id = node.get("id").longValue();
                names.put(id, node.get("type").asText() + " " + node.get("name").asText());
                ((ObjectNode) node).remove("id");
            }
            for (JsonNode edge : graph.get("edges")) {
                for (String end : List.of("parent", "child")) {
                    ((ObjectNode) edge).put(end, names.get(edge.get(end).longValue()));
                }
            }
        }

        /** Waits for an event. */
        JsonNode event() throws IOException {
            return masked(qmp.nextEvent());
        }

        /** Runs a program: its exit status and what it said. */
        String run(String script) throws IOException, InterruptedException {
            Process shell =
                    new ProcessBuilder("sh", "-c", here(script)).redirectErrorStream(true).start();
            String output;
            try {
                shell.getOutputStream().close();
                output = new String(shell.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
                if (!shell.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)) {
                    throw new IOException(script + " does not end");
                }
            } finally {
                shell.destroyForcibly();
            }
            // qemu-io tells how fast it was
            return shell.exitValue()
                    + " "
                    + output.replace(folder.toString(), "@DIR@")
                            .replaceAll("(?m)^.*ops; .*/sec.*\\R", "");
        }

        private static String command(String request) {
            try {
                return JSON.readTree(request).path("execute").asText();
            } catch (IOException e) {
                return "";
            }
        }

        private JsonNode masked(JsonNode node) {
            return switch (node) {
                case TextNode text when text.textValue().startsWith("json:") ->
                        // Options of a node, in no order
                        new TextNode("json:" + inOneOrder(masked(options(text.textValue()))));
                case TextNode text -> new TextNode(masked(text.textValue()));
                case ArrayNode list -> {
                    ArrayNode copy = JSON.createArrayNode();
                    list.forEach(each -> copy.add(masked(each)));
                    yield copy;
                }
                case ObjectNode object -> {
                    ObjectNode copy = JSON.createObjectNode();
                    object.properties()
                            .forEach(
                                    member -> {
                                        if (!member.getKey().equals("timestamp")) {
                                            copy.set(member.getKey(), masked(member.getValue()));
                                        }
                                    });
                    yield copy;
                }
                default -> node;
            };
        }

        private static JsonNode options(String filename) {
            try {
                return JSON.readTree(filename.substring("json:".length()));
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        /** Names that are made up have random digits: numbered in the order of appearance. */
        private String masked(String text) {
            Matcher matcher =
                    MADE_UP.matcher(
                            text.replace(folder.toString(), "@DIR@")
                                    .replaceFirst("/dev/pts/\\d+$", "/dev/pts/N"));
            return matcher.replaceAll(
                    found ->
                            madeUp.computeIfAbsent(
                                    found.group(), _ -> "#block~" + (madeUp.size() + 1)));
        }

        private static JsonNode sorted(JsonNode node) {
            return switch (node) {
                case ArrayNode list -> {
                    List<JsonNode> items = new ArrayList<>();
                    list.forEach(each -> items.add(sorted(each)));
                    items.sort(Comparator.comparing(Side::inOneOrder));
                    yield JSON.createArrayNode().addAll(items);
                }
                case ObjectNode object -> {
                    ObjectNode copy = JSON.createObjectNode();
                    object.properties()
                            .forEach(
                                    member -> copy.set(member.getKey(), sorted(member.getValue())));
                    yield copy;
                }
                default -> node;
            };
        }

        private static String inOneOrder(JsonNode node) {
            List<String> members = new ArrayList<>();
            node.properties()
                    .forEach(m -> members.add(m.getKey() + "=" + inOneOrder(m.getValue())));
            members.sort(Comparator.naturalOrder());
            return node.isObject() ? members.toString() : node.toString();
        }

        /** The schema's entries by name. */
        Map<String, JsonNode> schema() throws IOException {
            Map<String, JsonNode> entries = new TreeMap<>();
            qmp.execute("query-qmp-schema", "{}")
                    .get("return")
                    .forEach(entry -> entries.put(entry.get("name").textValue(), entry));
            return entries;
        }

        private int quit() throws IOException, InterruptedException {
            try {
                qmp.execute("quit", "{}");
                if (!process.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)) {
                    throw new IOException("does not end");
                }
                return process.exitValue();
            } finally {
                process.destroyForcibly();
            }
        }
    }

    private final Side theirs;
    private final Side ours;

    /** Starts both, in new folders of {@code directory}; theirs is {@code program}. */
    Pair(String program, Path directory, List<String> arguments) throws IOException {
        theirs = new Side(program, directory.resolve("qemu"), arguments);
        ours =
                new Side(
                        Distribution.HOME.resolve("bin/blockwharf").toString(),
                        directory.resolve("ours"),
                        arguments);
    }

    Side theirs() {
        return theirs;
    }

    Side ours() {
        return ours;
    }

    /** Ends both, which they must do with exit status 0. */
    @Override
    public void close() throws IOException {
        try {
            List<Integer> statuses = List.of(theirs.quit(), ours.quit());
            if (!statuses.equals(List.of(0, 0))) {
                throw new IOException("exit statuses of QEMU's and ours " + statuses);
            }
        } catch (InterruptedException e) {
            throw new IOException(e);
        }
    }
}
