package io.blockwharf.core.object;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.blockwharf.api.qmp.ObjectOptions;
import io.blockwharf.api.qmp.ObjectType;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.QomContainer;
import io.blockwharf.core.control.ControlLock;
import io.blockwharf.core.control.Fakes;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.concurrent.atomic.AtomicLong;

/** The object model; texts are those of qemu-storage-daemon 7.2. */
class QomTest {
    private enum Colour {
        RED,
        GREEN
    }

    record LampProperties(Optional<Long> watts, Optional<Colour> colour, Optional<String> note) {}

    private static final class LampType implements ObjectType<LampProperties> {
        @Override
        public Object create(String id, LampProperties properties) {
            return new AtomicLong(complete(properties).watts().orElseThrow());
        }

        @Override
        public LampProperties complete(LampProperties given) {
            return new LampProperties(
                    given.watts().or(() -> Optional.of(40L)), given.colour(), given.note());
        }

        @Override
        public void change(Object object, LampProperties properties) {
            if (properties.watts().orElseThrow() > 100) {
                throw QmpException.generic("too hot");
            }
            ((AtomicLong) object).set(properties.watts().orElseThrow());
        }
    }

    private static final class Shelf implements QomContainer {
        @Override
        public String name() {
            return "shelf";
        }

        @Override
        public SequencedMap<String, String> children() {
            return new LinkedHashMap<>(Map.of("book", "shelf-book"));
        }

        @Override
        public Map<String, String> types() {
            return Map.of("paper", "object", "shelf-book", "paper");
        }
    }

    private final Objects objects = new Objects(new ControlLock(), Fakes.logger(new ArrayList<>()));
    private final Qom qom = new Qom(objects);

    @BeforeEach
    void aLampAndAShelf() {
        Fakes.Service<ObjectType<?>> type =
                new Fakes.Service<>(new LampType(), "object.type.name", "secret-lamp");
        objects.addType(type, type.properties());
        qom.addContainer(new Shelf());
        objects.add(
                new ObjectOptions(
                        "secret-lamp",
                        "l",
                        new LampProperties(
                                Optional.empty(), Optional.of(Colour.GREEN), Optional.empty())));
    }

    private String error(Runnable action) {
        QmpException e = assertThrows(QmpException.class, action::run);
        return e.errorClass().wireName() + ": " + e.getMessage();
    }

    @ParameterizedTest(name = "{0}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    /            | {type=string, objects=child<container>, shelf=child<container>}
                    /objects     | {type=string, l=child<secret-lamp>}
                    //objects//  | {type=string, l=child<secret-lamp>}
                    /objects/l   | {type=string, watts=int, colour=Colour, note=string}
                    l            | {type=string, watts=int, colour=Colour, note=string}
                    objects/l    | {type=string, watts=int, colour=Colour, note=string}
                    /shelf       | {type=string, book=child<shelf-book>}
                    book         | {type=string}
                    """)
    void propertiesByPath(String path, String properties) {
        assertEquals(properties, qom.properties(path).toString());
    }

    @ParameterizedTest(name = "{0} {1}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    /          | type    | container
                    /          | objects | /objects
                    /objects   | l       | /objects/l
                    l          | type    | secret-lamp
                    l          | watts   | 40
                    l          | colour  | green
                    l          | note    | ''
                    shelf      | book    | /shelf/book
                    """)
    void values(String path, String property, String value) {
        assertEquals(value, qom.get(path, property).toString());
    }

    @Test
    void whatIsNotThere() {
        String gone = "DeviceNotFound: Device '%s' not found";
        assertEquals(gone.formatted("x"), error(() -> qom.properties("x")));
        assertEquals(gone.formatted("/l"), error(() -> qom.properties("/l")));
        assertEquals(gone.formatted("x"), error(() -> qom.set("x", "y", 1L)));
        assertEquals("GenericError: Path '' is ambiguous", error(() -> qom.properties("")));
        assertEquals(
                "GenericError: Property 'secret-lamp.x' not found", error(() -> qom.get("l", "x")));
        assertEquals("DeviceNotFound: Class 'x' not found", error(() -> qom.propertiesOfType("x")));
    }

    @Test
    void aPropertyIsCheckedAsAtTheBeginningAndThenChanged() {
        qom.set("l", "watts", 60L);
        assertEquals(60L, qom.get("l", "watts"));
        assertEquals(60, objects.find("l", AtomicLong.class).orElseThrow().get());
        assertEquals(
                "GenericError: Invalid parameter type for 'watts', expected: integer",
                error(() -> qom.set("l", "watts", "60")));
        assertEquals("GenericError: too hot", error(() -> qom.set("l", "watts", 101L)));
        assertEquals(60L, qom.get("l", "watts"));
        assertEquals(
                "GenericError: Property 'secret-lamp.type' is not writable",
                error(() -> qom.set("l", "type", "x")));
        assertEquals(
                "GenericError: Property 'container.l' is not writable",
                error(() -> qom.set("/objects", "l", "x")));
    }

    @ParameterizedTest(name = "{0}, abstract {1}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    user-creatable | true  | secret-lamp
                    secret_common  | true  | secret-lamp secret_common
                    paper          | true  | paper shelf-book
                    paper          | false | shelf-book
                    nope           | true  | ''
                    """)
    void typesThatAreAnother(String other, boolean withAbstract, String names) {
        List<String> found =
                new QomListTypes(qom)
                                .execute(
                                        new QomListTypes.Arguments(
                                                Optional.of(other), Optional.of(withAbstract)))
                                .stream()
                                .map(QomListTypes.TypeInfo::name)
                                .toList();
        assertEquals(names, String.join(" ", found));
    }

    @Test
    void aTypeHasThePropertiesOfItsObjects() {
        assertEquals(qom.properties("l"), qom.propertiesOfType("secret-lamp"));
        assertEquals("{type=string}", qom.propertiesOfType("paper").toString());
    }
}
