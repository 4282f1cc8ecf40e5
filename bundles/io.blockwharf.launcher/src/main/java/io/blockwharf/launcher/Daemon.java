package io.blockwharf.launcher;

import org.apache.felix.framework.Felix;
import org.osgi.framework.Bundle;
import org.osgi.framework.BundleContext;
import org.osgi.framework.BundleEvent;
import org.osgi.framework.BundleException;
import org.osgi.framework.Constants;
import org.osgi.framework.Filter;
import org.osgi.framework.FrameworkUtil;
import org.osgi.framework.InvalidSyntaxException;
import org.osgi.framework.startlevel.BundleStartLevel;
import org.osgi.util.tracker.ServiceTracker;

import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Function;

/**
 * The framework with the bundles of the distribution.
 *
 * <p>Start levels give the order, and backwards the order of the end: drivers go first, while
 * nodes, QMP and events are still there.
 */
final class Daemon implements AutoCloseable {
    private static final int PLATFORM = 1;
    private static final int FOLDERS = 2;
    private static final int CORE = 3;
    private static final int FRONT = 4;
    private static final int DRIVERS = 5;

    /** Of the bundles that are neither platform nor core. */
    private static final Map<String, Integer> LEVELS =
            Map.of(
                    "org.apache.felix.fileinstall", FOLDERS,
                    "io.blockwharf.qmp", FRONT,
                    "io.blockwharf.shell", FRONT);

    private static final Duration COMMAND_LINE_SERVICE = Duration.ofSeconds(20);
    private static final Duration ORDERLY_END = Duration.ofSeconds(30);

    private final CacheFolder cache;
    private final Felix framework;
    private TerminalLog log;

    private Daemon(Path home) {
        cache = CacheFolder.create();
        framework = new Felix(configuration(home, cache.path()));
    }

    /**
     * Starts everything that is in {@code bundles/} and {@code drivers/}. A driver that cannot
     * start is reported and left alone.
     *
     * @throws StartException if one of the {@code bundles/} cannot start
     */
    static Daemon start(Path home) {
        Daemon daemon = new Daemon(home);
        try {
            daemon.startBundles(home.resolve("bundles"));
            return daemon;
        } catch (BundleException e) {
            daemon.close();
            throw new StartException("cannot start: %s", e.getMessage());
        } catch (RuntimeException e) {
            daemon.close();
            throw e;
        }
    }

    private static Map<String, Object> configuration(Path home, Path cache) {
        Map<String, Object> properties = new HashMap<>();
        properties.put(Constants.FRAMEWORK_STORAGE, cache.resolve("felix").toString());
        properties.put(Constants.FRAMEWORK_BEGINNING_STARTLEVEL, Integer.toString(DRIVERS));
        properties.put("felix.cache.locking", "false"); // nobody else knows this folder
        properties.put("felix.bootdelegation.implicit", "false");
        properties.put("felix.log.logger", new TerminalLog.OfFramework());
        // From our class path, so that this program can read the log.
        properties.put(
                Constants.FRAMEWORK_SYSTEMPACKAGES_EXTRA, "org.osgi.service.log;version=1.5.0");

        properties.put(
                "felix.fileinstall.dir", home.resolve("conf") + "," + home.resolve("drivers"));
        properties.put("felix.fileinstall.filter", ".*\\.(jar|cfg)");
        properties.put("felix.fileinstall.noInitialDelay", "true");
        properties.put("felix.fileinstall.poll", "500");
        properties.put("felix.fileinstall.disableNio2", "true");
        properties.put("felix.fileinstall.enableConfigSave", "false");
        properties.put("felix.fileinstall.start.level", Integer.toString(DRIVERS));
        properties.put("felix.fileinstall.tmpdir", cache.resolve("fileinstall").toString());
        properties.put("felix.fileinstall.log.level", "2");
        properties.put("felix.fileinstall.log.default", "jul");

        // gogo.shell is there for its commands (echo, each, if, grep). Its own prompt would
        // read standard input, which may be a QMP channel, and its profile what stands in the
        // current
        // folder.
        properties.put("gosh.args", "--nointeractive --noshutdown");
        properties.put("gosh.home", home.toString());
        return properties;
    }

    private void startBundles(Path folder) throws BundleException {
        framework.init();
        BundleContext context = framework.getBundleContext();
        log = TerminalLog.open(context);
        List<Bundle> bundles = new ArrayList<>();
        for (Path jar : jars(folder)) {
            // By reference: the framework reads the jar where it is instead of copying it.
            Bundle bundle = context.installBundle("reference:" + jar.toUri());
            bundle.adapt(BundleStartLevel.class).setStartLevel(level(bundle));
            bundle.start();
            bundles.add(bundle);
        }
        framework.start();
        for (Bundle bundle : bundles) {
            if (bundle.getState() != Bundle.ACTIVE) {
                bundle.start(); // has failed once: this time it tells us why
            }
        }
        startDrivers(context, bundles);
        context.addBundleListener(Daemon::replacedByNoBundle);
    }

    /** File Install takes a bundle away without a word when half a jar is in its place. */
    private static void replacedByNoBundle(BundleEvent event) {
        if (event.getType() == BundleEvent.UNINSTALLED) {
            URI location = URI.create(event.getBundle().getLocation());
            if ("file".equals(location.getScheme()) && Files.exists(Path.of(location))) {
                TerminalLog.print(
                        Path.of(location) + " is not a bundle any more, and is uninstalled");
            }
        }
    }

    /** File Install has installed them, but would start them only when it looks again. */
    private static void startDrivers(BundleContext context, List<Bundle> bundles) {
        for (Bundle bundle : context.getBundles()) {
            if (bundle.getBundleId() != Constants.SYSTEM_BUNDLE_ID && !bundles.contains(bundle)) {
                try {
                    bundle.start();
                } catch (BundleException e) {
                    TerminalLog.print(bundle.getLocation() + ": " + e.getMessage());
                }
            }
        }
    }

    private static List<Path> jars(Path folder) {
        try (var files = Files.list(folder)) {
            return files.filter(file -> file.toString().endsWith(".jar")).sorted().toList();
        } catch (IOException e) {
            throw new StartException("cannot read %s: %s", folder, e.getMessage());
        }
    }

    private static int level(Bundle bundle) {
        String name = bundle.getSymbolicName();
        return LEVELS.getOrDefault(name, name.startsWith("io.blockwharf.") ? CORE : PLATFORM);
    }

    /**
     * Has the arguments carried out, in order, by the command-line service. Its answer is empty if
     * everything was done, a message if something failed, and an empty message if there was only
     * something to show, like {@code --object help}.
     *
     * @return whether there is a daemon to run now
     * @throws StartException with the service's message, or if there is no such service
     */
    boolean commandLine(List<String> args) throws InterruptedException {
        String answer = commandLineService().apply(args).orElse(null);
        if (answer == null) {
            return true;
        }
        log.await(); // warnings come before the error
        if (answer.isEmpty()) {
            return false;
        }
        throw new StartException("%s", answer);
    }

    @SuppressWarnings("unchecked") // the contract of blockwharf.role=command-line
    private Function<List<String>, Optional<String>> commandLineService()
            throws InterruptedException {
        BundleContext context = framework.getBundleContext();
        var tracker = new ServiceTracker<>(context, role(Function.class, "command-line"), null);
        tracker.open();
        try {
            Object service = tracker.waitForService(COMMAND_LINE_SERVICE.toMillis());
            if (service == null) {
                throw new StartException(
                        "no bundle offers a command line (waited %d s for the service"
                                + " java.util.function.Function, blockwharf.role=command-line)",
                        COMMAND_LINE_SERVICE.toSeconds());
            }
            return (Function<List<String>, Optional<String>>) service;
        } finally {
            tracker.close();
        }
    }

    /**
     * Everything that the arguments ask for is there: whoever is to know this is told.
     *
     * @param detached whether the daemon has left its caller
     */
    void ready(boolean detached) {
        BundleContext context = framework.getBundleContext();
        var tracker = new ServiceTracker<>(context, role(Consumer.class, "ready"), null);
        tracker.open();
        try {
            for (Object listener : tracker.getServices(new Object[0])) {
                tell(listener, detached);
            }
        } finally {
            tracker.close();
        }
    }

    @SuppressWarnings("unchecked") // the contract of blockwharf.role=ready
    private static void tell(Object listener, boolean detached) {
        ((Consumer<Boolean>) listener).accept(detached);
    }

    private static Filter role(Class<?> service, String role) {
        try {
            return FrameworkUtil.createFilter(
                    "(&(objectClass=%s)(blockwharf.role=%s))".formatted(service.getName(), role));
        } catch (InvalidSyntaxException e) {
            throw new IllegalStateException(e);
        }
    }

    /** Returns when somebody has stopped the framework: the quit command, or {@link #close}. */
    void waitForStop() throws InterruptedException {
        framework.waitForStop(0);
    }

    /** Stops everything in order and leaves nothing behind. A second call finds nothing to do. */
    @Override
    public void close() {
        try {
            framework.stop();
            framework.waitForStop(ORDERLY_END.toMillis());
        } catch (BundleException e) {
            TerminalLog.print("while stopping: " + e.getMessage());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        cache.close();
    }
}
