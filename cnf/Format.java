import com.google.googlejavaformat.java.Main;

import java.io.IOException;
import java.io.InputStream;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Formats every Java file of the tree, or checks that it is formatted: {@code check|replace ROOT}.
 */
final class Format {
    public static void main(String[] args) throws Exception {
        boolean check = args[0].equals("check");
        List<String> options = new ArrayList<>(List.of("--aosp"));
        options.addAll(
                check ? List.of("--dry-run", "--set-exit-if-changed") : List.of("--replace"));
        options.addAll(sources(Path.of(args[1])));
        PrintWriter out = new PrintWriter(System.out, true);
        int status =
                new Main(out, new PrintWriter(System.err, true), InputStream.nullInputStream())
                        .format(options.toArray(String[]::new));
        out.flush();
        if (check && status != 0) {
            System.err.println("These files are not formatted. Run cnf/format.");
        }
        System.exit(status);
    }

    private static List<String> sources(Path root) throws IOException {
        try (var files = Files.walk(root)) {
            return files.filter(file -> file.toString().endsWith(".java"))
                    .filter(
                            file ->
                                    !root.relativize(file)
                                            .toString()
                                            .matches("(.*/)?(target|generated)/.*"))
                    .map(Path::toString)
                    .sorted()
                    .toList();
        }
    }
}
