package io.blockwharf.core.object;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.qmp.ObjectOptions;
import io.blockwharf.api.qmp.ObjectStore.Use;
import io.blockwharf.api.qmp.ObjectType;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.core.control.ControlLock;
import io.blockwharf.core.control.Fakes;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

class ObjectsTest {
    private final List<String> log = new ArrayList<>();
    private final List<String> closed = new ArrayList<>();
    private final Objects objects = new Objects(new ControlLock(), Fakes.logger(log));
    private final Fakes.Service<ObjectType<?>> type =
            new Fakes.Service<>(new LampType(), "object.type.name", "lamp");

    record LampProperties(boolean broken) {}

    private record Lamp(String id, List<String> closed) implements AutoCloseable {
        @Override
        public void close() {
            closed.add(id);
            if (id.equals("sticky")) {
                throw new IllegalStateException("does not go off");
            }
        }
    }

    private final class LampType implements ObjectType<LampProperties> {
        @Override
        public Object create(String id, LampProperties properties) {
            if (properties.broken()) {
                throw QmpException.generic("It is broken");
            }
            return new Lamp(id, closed);
        }
    }

    @BeforeEach
    void installType() {
        objects.addType(type, type.properties());
    }

    private void add(String id) {
        objects.add(new ObjectOptions("lamp", id, new LampProperties(false)));
    }

    private static String failure(Runnable action) {
        return assertThrows(QmpException.class, action::run).getMessage();
    }

    @Test
    void anObjectIsFoundByIdAndType() {
        add("a");

        assertEquals("a", objects.find("a", Lamp.class).orElseThrow().id());
        assertEquals(Optional.empty(), objects.find("a", String.class));
        assertEquals(Optional.empty(), objects.use("a", String.class));
        assertEquals(Optional.empty(), objects.find("b", Lamp.class));
        assertTrue(objects.exists("a"));
        assertEquals(Map.of("a", "lamp"), objects.types());
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "1", "-a", "#a", "a b", "a/b", "ä", "a\n"})
    void anIdBeginsWithALetter(String id) {
        assertEquals("Parameter 'id' expects an identifier", failure(() -> add(id)));
    }

    @Test
    void anIdIsUsedOnceAtATime() {
        add("a.b-c_D9");

        assertEquals(
                "attempt to add duplicate property 'a.b-c_D9' to object (type 'container')",
                failure(() -> add("a.b-c_D9")));
        objects.delete("a.b-c_D9");
        add("a.b-c_D9");
    }

    @Test
    void whatCannotBeMadeLeavesNothing() {
        assertEquals(
                "It is broken",
                failure(
                        () ->
                                objects.add(
                                        new ObjectOptions("lamp", "a", new LampProperties(true)))));
        add("a");
    }

    @Test
    void deletingClosesTheObject() {
        add("a");
        objects.delete("a");

        assertEquals(List.of("a"), closed);
        assertEquals("object 'a' not found", failure(() -> objects.delete("a")));
    }

    @Test
    void anObjectInUseIsNotDeleted() {
        add("a");
        Use<Lamp> first = objects.use("a", Lamp.class).orElseThrow();
        Use<Lamp> second = objects.use("a", Lamp.class).orElseThrow();

        first.close();
        first.close();
        assertEquals(
                "object 'a' is in use, can not be deleted", failure(() -> objects.delete("a")));
        second.close();
        objects.delete("a");
        assertEquals(List.of("a"), closed);
    }

    @Test
    void anObjectThatFailsToCloseIsGoneAllTheSame() {
        add("sticky");
        objects.delete("sticky");

        assertEquals(1, log.size());
        assertEquals(Map.of(), objects.types());
    }

    @Test
    void objectsGoWithTheirTypeAndThoseInUseWithTheirLastUser() {
        add("a");
        add("b");
        Use<Lamp> use = objects.use("b", Lamp.class).orElseThrow();

        objects.removeType(type.properties());
        assertEquals(List.of("a"), closed);
        assertEquals(Map.of(), objects.types());
        assertEquals("Parameter 'qom-type' does not accept value 'lamp'", failure(() -> add("c")));
        use.close();
        assertEquals(List.of("a", "b"), closed);
    }

    @Test
    void theObjectsOfAnotherServiceOfTheTypeStay() {
        Fakes.Service<ObjectType<?>> other =
                new Fakes.Service<>(new LampType(), "object.type.name", "lamp");
        objects.addType(other, other.properties());
        add("a");

        objects.removeType(other.properties());
        assertTrue(objects.exists("a"));
    }

    @Test
    void theStoreEndsWithItsNewestObjectFirst() {
        add("a");
        add("b");
        objects.close();

        assertEquals(List.of("b", "a"), closed);
    }
}
