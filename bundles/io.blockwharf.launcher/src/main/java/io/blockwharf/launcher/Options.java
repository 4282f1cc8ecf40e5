package io.blockwharf.launcher;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;

/**
 * First pass over the command line: the options that are the process's own. Everything else keeps
 * its order and its spelling and goes to the command-line service, which also reports what nobody
 * knows.
 *
 * <p>Long options may be abbreviated and may carry their value after {@code =}, as getopt_long
 * allows.
 *
 * @param help show the usage and end
 * @param version show the version and end
 * @param daemonize the caller asked for a background process
 * @param pidFile where to write the process id once everything is up
 * @param rest the arguments of the second pass
 */
record Options(
        boolean help,
        boolean version,
        boolean daemonize,
        Optional<Path> pidFile,
        List<String> rest) {

    /** Every long option, true if it has a value. The values must be skipped, whatever they are. */
    private static final Map<String, Boolean> TAKES_VALUE =
            Map.ofEntries(
                    Map.entry("help", false),
                    Map.entry("version", false),
                    Map.entry("daemonize", false),
                    Map.entry("pidfile", true),
                    Map.entry("blockdev", true),
                    Map.entry("chardev", true),
                    Map.entry("export", true),
                    Map.entry("monitor", true),
                    Map.entry("nbd-server", true),
                    Map.entry("object", true),
                    Map.entry("shell", true),
                    Map.entry("trace", true));

    private static final Pattern SHORT = Pattern.compile("-[hV]{2,}");

    Options {
        rest = List.copyOf(rest);
    }

    /**
     * Reads the process's own options.
     *
     * @throws StartException if one of them lacks its value or has one that it does not take
     */
    static Options parse(List<String> args) {
        boolean help = false;
        boolean version = false;
        boolean daemonize = false;
        Optional<Path> pidFile = Optional.empty();
        List<String> rest = new ArrayList<>();
        for (int i = 0; i < args.size(); i++) {
            String arg = args.get(i);
            if (arg.equals("--")) {
                rest.addAll(args.subList(i, args.size()));
                break;
            }
            int equals = arg.indexOf('=');
            String name = longName(equals < 0 ? arg : arg.substring(0, equals));
            boolean separateValue = equals < 0 && TAKES_VALUE.getOrDefault(name, false);
            switch (name) {
                case "help", "version", "daemonize" -> {
                    if (equals >= 0) {
                        throw new StartException("option '--%s' doesn't allow an argument", name);
                    }
                    help |= name.equals("help");
                    version |= name.equals("version");
                    daemonize |= name.equals("daemonize");
                }
                case "pidfile" -> {
                    if (separateValue && i + 1 == args.size()) {
                        throw new StartException("option '--pidfile' requires an argument");
                    }
                    String value = separateValue ? args.get(++i) : arg.substring(equals + 1);
                    pidFile = Optional.of(Path.of(value));
                }
                default -> {
                    rest.add(arg);
                    if (separateValue && i + 1 < args.size()) {
                        rest.add(args.get(++i));
                    }
                }
            }
        }
        return new Options(help, version, daemonize, pidFile, rest);
    }

    /** The full name of an option, or the argument itself if it is none that we know. */
    private static String longName(String arg) {
        return switch (arg) {
            case "-h" -> "help";
            case "-V" -> "version";
            case "-T" -> "trace";
            default -> {
                if (SHORT.matcher(arg).matches()) {
                    yield longName(arg.substring(0, 2)); // both end it at once
                }
                if (!arg.startsWith("--")) {
                    yield arg;
                }
                String start = arg.substring(2);
                List<String> names =
                        TAKES_VALUE.keySet().stream()
                                .filter(name -> name.startsWith(start))
                                .toList();
                yield names.size() == 1 ? names.getFirst() : arg;
            }
        };
    }

    /** The text of {@code --help}. */
    static final String USAGE =
            """
            Usage: blockwharf [options]
            Exports disk images over NBD, vhost-user-blk, FUSE and VDUSE.

              -h, --help             show this text and end
              -V, --version          show the version and end

              --blockdev [driver=]DRIVER[,node-name=NAME][,read-only=on|off]
                         [,auto-read-only=on|off][,force-share=on|off]
                         [,discard=ignore|unmap][,detect-zeroes=on|off|unmap]
                         [,cache.direct=on|off][,cache.no-flush=on|off]
                         [,options of the driver...]
                                     add a block node
              --chardev [backend=]socket|stdio|...,id=ID[,options of the backend...]
                                     add a channel for a monitor
              --export [type=]TYPE,id=ID,node-name=NAME[,writable=on|off]
                       [,options of the type...]
                                     export a block node: nbd (name=NAME; needs
                                     --nbd-server) and the types of the drivers in
                                     the drivers folder
              --monitor [chardev=]ID[,mode=control][,pretty[=on|off]]
                                     serve QMP on a channel
              --nbd-server addr.type=inet,addr.host=HOST,addr.port=PORT
              --nbd-server addr.type=unix,addr.path=PATH
                         [,tls-creds=ID][,tls-authz=ID][,max-connections=N]
                                     start the NBD server
              --object [qom-type=]TYPE,id=ID[,properties of the type...]
                                     create an object; '--object help' lists the
                                     types, '--object TYPE,help' the properties
              --shell stdio|path=PATH
                                     offer the Gogo shell on the terminal or on a
                                     unix socket

              -T, --trace [[enable=]PATTERN][,events=FILE][,file=FILE]
                                     write trace events to standard error or to a
                                     file; '--trace help' lists them

              --daemonize            go to the background; the caller's process ends
                                     when everything is ready
              --pidfile PATH         write the process id to a file when everything
                                     is ready

            Options are carried out in the order in which they stand. Values are
            key=value lists, or JSON objects.

            Environment: BLOCKWHARF_JAVA names the JDK 25 to use, BLOCKWHARF_OPTS holds
            more options for its java.
            """;
}
