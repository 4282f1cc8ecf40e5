package io.blockwharf.core.graph;

import io.blockwharf.api.block.ImageDescription;
import io.blockwharf.api.block.ImageName;
import io.blockwharf.api.block.JsonFilename;
import io.blockwharf.api.qmp.QmpDispatcher.Null;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.core.qapi.JsonText;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.regex.Pattern;

/**
 * What the names mean by which images call each other: block.c, {@code bdrv_get_full_backing_
 * filename} and {@code bdrv_fill_options}.
 */
final class ImageNames {
    private static final String FILE = "file:";
    private static final String BACKING = "backing";

    /**
     * A name with a protocol, which may be a driver's name. A colon behind a slash is part of a
     * path.
     */
    private static final Pattern PROTOCOL = Pattern.compile("[A-Za-z][A-Za-z0-9+._-]*:.*");

    private ImageNames() {}

    /** A name as seen from everywhere: a relative path begins in the folder of the parent. */
    static String resolve(String name, String parent) {
        if (name.startsWith("/") || PROTOCOL.matcher(name).matches()) {
            return name.startsWith(FILE) ? resolve(name.substring(FILE.length()), parent) : name;
        }
        if (!JsonFilename.isPlain(parent) || parent.isEmpty()) {
            throw QmpException.generic(
                    "Cannot use relative paths with names that have no folder: '%s'", name);
        }
        return parent.substring(0, parent.lastIndexOf('/') + 1) + name;
    }

    /**
     * What an image is called by others: the name of its file, unless that would be opened as
     * something else: where what lies below is not just a file, or the backing file is another than
     * the image names.
     */
    static String shown(Node node) {
        String plain = node.image().filename();
        NodeHandle file = node.children.get("file");
        if (!JsonFilename.isPlain(plain) || file == null) {
            return plain;
        }
        boolean otherBacking = hasOtherBacking(node);
        if (file.node.children.isEmpty() && !otherBacking) {
            return plain;
        }
        Map<String, Optional<String>> members = new LinkedHashMap<>();
        NodeHandle backing = node.children.get(BACKING);
        members.put(
                BACKING,
                Optional.of(backing == null ? "null" : nested(backing.node))
                        .filter(_ -> otherBacking));
        members.put("driver", Optional.of(JsonFilename.text(node.driverName)));
        members.put("file", Optional.of(nested(file.node)));
        return JsonFilename.of(members);
    }

    private static boolean hasOtherBacking(Node node) {
        NodeHandle backing = node.children.get(BACKING);
        if (!BlockdevRefs.has(node.given.options().getClass(), BACKING)
                || backing != null && backing.named) {
            return false;
        }
        Optional<String> named =
                node.image()
                        .description()
                        .flatMap(ImageDescription::backing)
                        .map(ImageName::filename);
        return !named.equals(Optional.ofNullable(backing).map(handle -> shown(handle.node)));
    }

    /** A node in the options of another one. */
    static String nested(Node node) {
        String shown = shown(node);
        if (!JsonFilename.isPlain(shown)) {
            return shown.substring(JsonFilename.PREFIX.length());
        }
        NodeHandle file = node.children.get("file");
        Optional<String> below = Optional.ofNullable(file).map(handle -> nested(handle.node));
        boolean named = below.isEmpty() && !shown.equals(node.driverName + "://");
        Map<String, Optional<String>> members = new LinkedHashMap<>();
        members.put("driver", Optional.of(JsonFilename.text(node.driverName)));
        members.put("file", below);
        members.put("filename", Optional.of(JsonFilename.text(shown)).filter(_ -> named));
        return JsonFilename.of(members).substring(JsonFilename.PREFIX.length());
    }

    /**
     * The options of the node that a name stands for; the leaves are strings.
     *
     * @param format the driver, if that is known
     * @param recognise tells the driver of what the options of a protocol node give
     */
    static Map<String, Object> options(
            String name, Optional<String> format, Function<Map<String, Object>, String> recognise) {
        if (!JsonFilename.isPlain(name)) {
            return nested(JsonText.object(name.substring(JsonFilename.PREFIX.length())));
        }
        Map<String, Object> protocol = protocol(name);
        String driver = format.orElseGet(() -> recognise.apply(protocol));
        return driver.equals(protocol.get("driver"))
                ? protocol
                : Map.of("driver", driver, "file", protocol);
    }

    private static Map<String, Object> protocol(String name) {
        if (name.startsWith("/") || !PROTOCOL.matcher(name).matches()) {
            return Map.of(
                    "driver", name.startsWith("/dev/") ? "host_device" : "file", "filename", name);
        }
        String protocol = name.substring(0, name.indexOf(':'));
        String rest = name.substring(protocol.length() + 1);
        return switch (protocol) {
            case "nbd", "nbd+tcp", "nbd+unix" -> nbd(name);
            case "host_device" -> Map.of("driver", protocol, "filename", rest);
            case "null-co", "null-aio" -> {
                if (!rest.equals("//")) {
                    throw QmpException.generic(
                            "The only allowed filename for this driver is '%s://'", protocol);
                }
                yield Map.of("driver", protocol);
            }
            default -> throw QmpException.generic("Unknown protocol '%s'", protocol);
        };
    }

    /** NBD URIs (nbd.git, doc/uri.md), and QEMU's older {@code nbd:HOST:PORT:exportname=NAME}. */
    private static Map<String, Object> nbd(String name) {
        var uri = Pattern.compile("nbd(?:\\+(tcp|unix))?://([^/?]*)/?([^?]*)(?:\\?socket=(.*))?");
        var old = Pattern.compile("nbd:(?:unix:([^:]+)|([^:]+):([0-9]+))(?::exportname=(.*))?");
        var m = uri.matcher(name);
        if (m.matches()) {
            boolean unix = "unix".equals(m.group(1));
            String authority = m.group(2);
            int colon = authority.lastIndexOf(':');
            boolean port = colon > authority.lastIndexOf(']');
            return nbd(
                    unix ? m.group(4) : null,
                    port ? authority.substring(0, colon) : authority,
                    port ? authority.substring(colon + 1) : "10809",
                    m.group(3));
        }
        m = old.matcher(name);
        if (m.matches()) {
            return nbd(m.group(1), m.group(2), m.group(3), m.group(4));
        }
        throw QmpException.generic("No valid URL specified: '%s'", name);
    }

    private static Map<String, Object> nbd(String path, String host, String port, String export) {
        Map<String, Object> options = new LinkedHashMap<>();
        options.put("driver", "nbd");
        options.put(
                "server",
                path != null
                        ? Map.of("type", "unix", "path", path)
                        : Map.of("type", "inet", "host", host, "port", port));
        if (export != null && !export.isEmpty()) {
            options.put("export", export);
        }
        return options;
    }

    /** Nests {@code a.b} and makes strings of the leaves, as the command line has them. */
    private static Map<String, Object> nested(Map<String, Object> object) {
        Map<String, Object> nested = new LinkedHashMap<>();
        object.forEach((key, value) -> put(nested, key, leaf(value)));
        return nested;
    }

    private static void put(Map<String, Object> target, String key, Object value) {
        int dot = key.indexOf('.');
        if (dot < 0) {
            if (target.put(key, value) != null) {
                throw QmpException.generic("Parameter '%s' is given twice", key);
            }
            return;
        }
        Object inner = target.computeIfAbsent(key.substring(0, dot), _ -> new LinkedHashMap<>());
        if (!(inner instanceof Map<?, ?>)) {
            throw QmpException.generic("Parameter '%s' is given twice", key.substring(0, dot));
        }
        @SuppressWarnings("unchecked") // only made here
        Map<String, Object> map = (Map<String, Object>) inner;
        put(map, key.substring(dot + 1), value);
    }

    private static Object leaf(Object value) {
        return switch (value) {
            case Map<?, ?> map -> {
                Map<String, Object> object = new LinkedHashMap<>();
                map.forEach((name, member) -> put(object, name.toString(), leaf(member)));
                yield object;
            }
            case List<?> list -> {
                List<Object> elements = new ArrayList<>();
                list.forEach(element -> elements.add(leaf(element)));
                yield elements;
            }
            case Boolean bool -> bool ? "on" : "off";
            case Null same -> same;
            default -> value.toString();
        };
    }
}
