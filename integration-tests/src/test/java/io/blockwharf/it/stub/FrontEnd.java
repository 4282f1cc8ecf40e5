package io.blockwharf.it.stub;

import org.osgi.framework.BundleActivator;
import org.osgi.framework.BundleContext;
import org.osgi.framework.BundleException;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Hashtable;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;

/** A command-line service that does what the tests of the launcher need, and nothing else. */
public final class FrontEnd implements BundleActivator, Function<List<String>, Optional<String>> {
    private BundleContext context;

    @Override
    public void start(BundleContext context) {
        this.context = context;
        context.registerService(
                Function.class, this, new Hashtable<>(Map.of("blockwharf.role", "command-line")));
    }

    @Override
    public void stop(BundleContext context) {}

    @Override
    public Optional<String> apply(List<String> args) {
        try {
            for (Iterator<String> i = args.iterator(); i.hasNext(); ) {
                switch (i.next()) {
                    case "fail" -> {
                        return Optional.of(i.next());
                    }
                    case "copy" -> copy(Path.of("/proc/self/fd", i.next()), Path.of(i.next()));
                    case "say" -> System.out.println(i.next());
                    case "bundles" -> Files.writeString(Path.of(i.next()), bundles());
                    case "quit" -> context.getBundle(0).stop();
                    case String unknown -> {
                        return Optional.of(unknown + ": Unexpected argument");
                    }
                }
            }
            return Optional.empty();
        } catch (IOException | BundleException e) {
            return Optional.of(e.toString());
        }
    }

    private static void copy(Path from, Path to) throws IOException {
        Files.write(to, Files.readAllBytes(from));
    }

    /** One line per bundle: symbolic name and state. */
    private String bundles() {
        StringBuilder lines = new StringBuilder();
        for (var bundle : context.getBundles()) {
            lines.append(bundle.getSymbolicName())
                    .append(' ')
                    .append(bundle.getState())
                    .append('\n');
        }
        return lines.toString();
    }
}
